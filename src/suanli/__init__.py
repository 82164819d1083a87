"""suanli: what a token costs on which AI system, with sources and error bars."""
