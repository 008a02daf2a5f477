# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe, judge, decide: the thinking behind Cutover's modules and plugins."""
