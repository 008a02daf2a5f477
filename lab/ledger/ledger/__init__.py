# SPDX-License-Identifier: GPL-3.0-or-later
"""A payments and supply ledger: the specimen that the lab operates, not a part of the product."""
