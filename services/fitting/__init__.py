"""For each training curve the library curves that fit it best."""
