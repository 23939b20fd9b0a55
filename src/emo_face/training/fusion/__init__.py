"""The weights of the nano tier's opinion pool."""
