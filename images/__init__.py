"""Reading pictures safely, control maps, sizes, previews and the blob store."""
