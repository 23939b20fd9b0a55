"""Record the Python API of TensorRT and of CUDA's runtime bindings into tests/data/tensorrt/, for the contract tests.

  python scripts/record_tensorrt_surface.py            every version below; needs gcc, NumPy, pip and its index; no GPU

NVIDIA's wheels `tensorrt-cu12-bindings` hold the real extension module. It imports where three stub libraries define
the dozen C entry points that it links; every class, method, argument name and enum member can then be read. The
recordings hold our calls (and the fake device of the tests) to what each version really offers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TENSORRT = ("10.3.0", "10.13.3.9", "10.16.1.11", "11.4.0.106")
CUDA = ("12.9.10", "13.4.4")
TARGET = Path(__file__).resolve().parents[1] / "tests" / "data" / "tensorrt"

# What the extension links of each library; every stub returns 0, so factories say "returned nullptr".
STUBS = {
    "nvinfer": (
        "createInferBuilder_INTERNAL",
        "createInferRuntime_INTERNAL",
        "createInferRefitter_INTERNAL",
        "getBuilderPluginRegistry",
        "getPluginRegistry",
        "getLogger",
        "getInferLibVersion",
        "getInferLibMajorVersion",
        "getInferLibMinorVersion",
        "getInferLibPatchVersion",
        "getInferLibBuildVersion",
    ),
    "nvinfer_plugin": ("initLibNvInferPlugins",),
    "nvonnxparser": (
        "createNvOnnxParser_INTERNAL",
        "createNvOnnxParserRefitter_INTERNAL",
        "getNvOnnxParserVersion",
    ),
}

READ = r"""
import enum, inspect, json, pathlib, re, sys
module_name = sys.argv[1]
module = __import__(module_name, fromlist=["*"])

def arguments(text, name):
    "Every overload of a pybind or Cython docstring: argument names and which of them may be left out."
    found = []
    for line in (text or "").splitlines():
        match = re.match(r"\s*(?:\d+\. )?" + re.escape(name) + r"\((.*)\)(?: -> .*)?$", line.strip())
        if match and "*args" not in match[1]:
            found.append(split(match[1]))
    return found

def split(text):
    parts, depth, part = [], 0, ""
    for letter in text + ",":
        depth += letter in "([{<"
        depth -= letter in ")]}>"
        if letter == "," and depth == 0:
            if part.strip() and part.strip() not in ("*", "/"):
                name = part.split(":")[0].split("=")[0].strip().split(" ")[-1]
                parts.append(name + ("?" if "=" in part else ""))
            part = ""
        else:
            part += letter
    return parts

def of_class(kind):
    bases = [base.__name__ for base in kind.__bases__ if base is not object and "pybind" not in base.__name__]
    entry = {"bases": bases}
    members = getattr(kind, "__members__", None)
    if members:
        entry["members"] = {name: int(value) for name, value in members.items()}
        return entry
    entry["methods"], entry["properties"] = {}, {}
    for name, value in sorted(vars(kind).items()):
        if inspect.isclass(value):
            entry.setdefault("classes", {})[name] = of_class(value)
            continue
        if name.startswith("_") and name != "__init__":
            continue
        if isinstance(value, property):
            entry["properties"][name] = "rw" if value.fset else "r"
        elif callable(value) or isinstance(value, (staticmethod, classmethod)) or inspect.isroutine(value):
            entry["methods"][name] = arguments(getattr(value, "__doc__", ""), name)
        elif inspect.isgetsetdescriptor(value) or inspect.ismemberdescriptor(value):
            entry["properties"][name] = "rw"
    return entry

# What C++ calls on a Python subclass is in no class: such methods stand in the extension's strings.
VIRTUAL = (
    "reallocate_output", "reallocate_output_async", "notify_shape", "phase_start", "step_complete", "phase_finish",
)

surface = {"module": module_name, "version": sys.argv[2]}
surface.update({group: {} for group in ("classes", "functions", "constants", "virtual")})
wanted = json.loads(sys.argv[3])
for name, value in sorted(vars(module).items()):
    if name.startswith("_") or (wanted and name not in wanted):
        continue
    if inspect.isclass(value):
        surface["classes"][name] = of_class(value)
    elif callable(value):
        surface["functions"][name] = arguments(value.__doc__, name)
    elif isinstance(value, int) and wanted:
        surface["constants"][name] = value
files = [] if wanted else pathlib.Path(module.__file__).parent.glob("*.so")
binary = b"".join(f.read_bytes() for f in files)
for name in VIRTUAL:
    said = re.search(rb"def " + name.encode() + rb"\(([^)]*)\)", binary)  # its docstring shows how to override it
    if said or b"\0" + name.encode() + b"\0" in binary:
        surface["virtual"][name] = split(said[1].decode()) if said else None
print(json.dumps(surface))
"""

# Of CUDA's runtime, what an inference engine may need; the whole has thousands of names.
CUDA_NAMES = (
    "cudaError_t",
    "cudaMemcpyKind",
    "cudaStreamCaptureMode",
    "cudaStreamCaptureStatus",
    "cudaDeviceProp",
    "cudaDeviceAttr",
    "cudaGetDeviceCount",
    "cudaGetDevice",
    "cudaSetDevice",
    "cudaGetDeviceProperties",
    "cudaDeviceGetAttribute",
    "cudaDriverGetVersion",
    "cudaRuntimeGetVersion",
    "cudaMemGetInfo",
    "cudaGetErrorName",
    "cudaGetErrorString",
    "cudaGetLastError",
    "cudaMalloc",
    "cudaFree",
    "cudaHostAlloc",
    "cudaHostAllocDefault",
    "cudaMallocHost",
    "cudaFreeHost",
    "cudaMemcpyAsync",
    "cudaMemcpy",
    "cudaStreamCreate",
    "cudaStreamCreateWithFlags",
    "cudaStreamNonBlocking",
    "cudaStreamDestroy",
    "cudaStreamSynchronize",
    "cudaStreamBeginCapture",
    "cudaStreamEndCapture",
    "cudaGraphInstantiate",
    "cudaGraphLaunch",
    "cudaGraphExecDestroy",
    "cudaGraphDestroy",
    "cudaEventCreate",
    "cudaEventRecord",
    "cudaEventSynchronize",
    "cudaEventElapsedTime",
    "cudaEventDestroy",
)


def stub_libraries(folder: Path, major: str) -> None:
    """Compile ``libNAME.so.MAJOR`` of :data:`STUBS`."""
    for name, symbols in STUBS.items():
        soname = f"lib{name}.so.{major}"
        code = "\n".join(f"void* {symbol}() {{ return 0; }}" for symbol in symbols)
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{soname}", "-x", "c", "-", "-o", str(folder / soname)]
        subprocess.run(command, input=code.encode(), check=True)


def read(packages: Path, module: str, version: str, names: tuple[str, ...], libraries: Path) -> dict[str, Any]:
    """The surface of ``module`` installed in the folder ``packages``."""
    env = {**os.environ, "LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": str(packages)}
    words = [sys.executable, "-c", READ, module, version, json.dumps(names)]
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{module} {version}: {done.stderr.strip().splitlines()[-1]}")
    surface: dict[str, Any] = json.loads(done.stdout)
    return surface


def record(package: str, version: str, module: str, names: tuple[str, ...], target: Path) -> None:
    """Install one version into a throw-away folder and write its surface, one line per class."""
    with tempfile.TemporaryDirectory() as scratch:
        room = Path(scratch)
        packages = room / "packages"
        words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(packages)]
        extra = ["cuda-pathfinder"] if package == "cuda-bindings" else []
        subprocess.run([*words, f"{package}=={version}", *extra], check=True)
        stub_libraries(room, version.split(".")[0])
        surface = read(packages, module, version, names, room)
    target.parent.mkdir(parents=True, exist_ok=True)
    parts = [f'"{key}": {json.dumps(surface[key])}' for key in ("module", "version", "constants", "virtual")]
    for group in ("classes", "functions"):
        rows = ",\n".join(f'  "{name}": {json.dumps(value)}' for name, value in surface[group].items())
        parts.append(f'"{group}": {{\n{rows}\n}}')
    target.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")
    print(f"{target.name}: {len(surface['classes'])} classes, {len(surface['functions'])} functions")


def main() -> int:
    """Record everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=TARGET, metavar="DIR")
    args = parser.parse_args()
    for version in TENSORRT:
        short = ".".join(version.split(".")[:2])
        record("tensorrt-cu12-bindings", version, "tensorrt_bindings", (), args.out / f"tensorrt_{short}.json")
    for version in CUDA:
        short = ".".join(version.split(".")[:2])
        record("cuda-bindings", version, "cuda.bindings.runtime", CUDA_NAMES, args.out / f"cuda_{short}.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
