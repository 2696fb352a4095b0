"""Makes a picture of 12 megapixels, and says how large the other one was: python enlarge.py FROM TO."""
import sys

from PIL import Image

source, target = sys.argv[1:]
with Image.open(source) as image:
    image.convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC).save(target, "JPEG", quality=90)
    print("x".join(map(str, image.size)))
