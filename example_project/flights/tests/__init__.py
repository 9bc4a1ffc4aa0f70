"""The tests of the example: ``manage.py test flights``."""
