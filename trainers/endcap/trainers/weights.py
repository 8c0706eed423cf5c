"""The large weights of an ONNX graph, in a file beside it that the server maps into memory."""

from pathlib import Path

from onnx import ModelProto, TensorProto

from endcap.sdk.bundle import WEIGHTS


_LARGE_BYTES = 1 << 12
_PAGE_BYTES = 1 << 12


def move_weights(model: ModelProto, folder: Path) -> None:
    """Move the large weights out of a graph, each to a page of its own in the file ``WEIGHTS``.

    Args:
        model: The graph, which is changed.
        folder: Where the file is written, unless no weight is large; it must not hold one yet.
    """
    large = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) >= _LARGE_BYTES]
    if not large:
        return
    with (folder / WEIGHTS).open("xb") as stream:
        for tensor in large:
            stream.write(bytes(-stream.tell() % _PAGE_BYTES))
            place = {"location": WEIGHTS, "offset": stream.tell(), "length": stream.write(tensor.raw_data)}
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
