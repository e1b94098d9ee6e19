"""What a click tells about its visitor: country, device, referrer, a keyed hash of the address."""
