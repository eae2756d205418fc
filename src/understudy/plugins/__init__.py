"""The plugin host: who is there, what they bring, and what is wrong with them."""

from understudy.plugins.host import GROUP, PluginHost, PluginInfo
from understudy.plugins.loading import import_target

__all__ = ["GROUP", "PluginHost", "PluginInfo", "import_target"]
