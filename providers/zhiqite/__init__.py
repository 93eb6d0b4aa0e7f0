"""zhiqite (api.zhiqite.com)."""
