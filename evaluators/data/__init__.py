"""From a source to batches: splits, decoding, caching, streaming, loading."""
