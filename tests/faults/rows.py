# SPDX-License-Identifier: Apache-2.0
"""All rows, by importing the files that have them: one a family of the table."""
import rows_broker  # noqa: F401
import rows_judged  # noqa: F401
import rows_host  # noqa: F401
import rows_life  # noqa: F401
import rows_network  # noqa: F401
import rows_security  # noqa: F401
