# SPDX-License-Identifier: Apache-2.0
"""oslo.messaging's own lists of options, and oslo.config reading files for them."""
import logging
import warnings

from oslo_config import cfg
from oslo_messaging import opts
from oslo_messaging._metrics import client as metrics
from oslo_messaging.notify import _impl_routing as routing

import differences

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
cfg._report_deprecation = lambda *args: None  # they would be on standard error


def all_lists():
    """The lists that oslo.messaging shows to others, and the two that it keeps to itself."""
    return [*opts.list_opts(), ("oslo_messaging_metrics", metrics.oslo_messaging_metrics),
            ("oslo_messaging_notifications", [routing.router_config])]


def all_names():
    return [f"{group or 'DEFAULT'}.{opt.name}" for group, some in all_lists() for opt in some]


def default(key):
    """oslo.messaging's own."""
    return {f"{group or 'DEFAULT'}.{opt.name}": opt.default for group, some in all_lists() for opt in some}[key]


CONF = cfg.ConfigOpts()
for _group, _some in all_lists():
    CONF.register_opts(_some, group=_group)


def loaded(paths):
    conf = CONF
    conf.clear()
    args = []
    for path in paths:
        args += ["--config-file", path]
    conf(args, project="x", default_config_files=[], default_config_dirs=[])
    return conf


def our_name(key):
    return differences.RENAMED.get(key, key)


def takes_more(key, value):
    """Whether this is a value that Fjord takes on purpose, though oslo.messaging 14.0.3 does not."""
    more = differences.TAKES_MORE.get(key)
    return more is not None and more[0](value)


def takes_more_of(group, name, path):
    """Whether a file may hold a value of this option that Fjord takes on purpose."""
    return f"{group or 'DEFAULT'}.{name}" in differences.TAKES_MORE and path in differences.TAKES_MORE_FILES
