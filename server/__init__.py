"""The outermost layer: settings, composition, transports, resources and the command line."""

__version__ = "0.1.0"
