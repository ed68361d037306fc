"""The history checker: judges what publishers, clients and the log did against PROTOCOL §6."""

from fanwire_cli.history.checker import InvalidHistory, Source, check_history
from fanwire_cli.history.report import Anomaly, Kind, Report

__all__ = ["Anomaly", "InvalidHistory", "Kind", "Report", "Source", "check_history"]
