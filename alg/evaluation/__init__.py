"""What found losses are worth: gradient check, promotion, fair test. Needs the extra ``search``."""
