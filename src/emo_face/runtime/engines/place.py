"""Put a model on a device, or say why it cannot go there and what to do instead."""

from typing import Any

from emo_face.core.errors import ModelError


def place(module: Any, device: str, what: str = "the model") -> Any:
    """``module`` on ``device``, in eval mode.

    Raises:
        ModelError: there is no such device here, or its memory is too small; names what is needed and what is free.
    """
    import torch

    try:
        return module.to(device).eval()
    except torch.cuda.OutOfMemoryError:
        need = weights(module)
        free = torch.cuda.mem_get_info(device)[0]
        raise ModelError(
            f"{device}: {what} is {need / 1e9:.1f} GB, pictures come on top, and the GPU has {free / 1e9:.1f} "
            "GB left; end what else runs there, take a larger GPU, or device cpu"
        ) from None
    except (RuntimeError, AssertionError) as error:  # torch has no class of its own for a device that is not there
        reason = str(error).splitlines()[0]
        raise ModelError(f"device {device!r}: {reason}; expected cpu, or cuda if torch sees a GPU") from None


def weights(module: Any) -> int:
    """Bytes of the weights."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))
