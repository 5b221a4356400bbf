"""Networks and living containers of the reference plugins: taken over in place (adopt), and released."""
