"""Tools for folders of safetensors: look inside, compare, average, reshard, subtract, prove."""
