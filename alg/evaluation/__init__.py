"""What found losses are worth: gradient check, promotion and the fair test. Needs the extra ``search``."""
