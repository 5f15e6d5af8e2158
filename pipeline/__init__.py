"""Joins the parts: from a config to the files of a finished run. Needs the extra ``search``."""
