//! safetensors to GGUF.
