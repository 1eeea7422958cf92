"""How a file's bytes become pixels: reference.py for both paths, through simplejpeg and pillow.py."""
