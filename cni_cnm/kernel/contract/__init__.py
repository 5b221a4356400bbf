"""What the engine is handed: values of the kernel, and the protocols whose verbs read and change them."""
