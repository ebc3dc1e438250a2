# The study of config/config.yaml, or of the file given with --configfile, which then stands alone.
import sys
from pathlib import Path

sys.path.insert(0, f"{workflow.basedir}/workflow")

from hwfit.config import ConfigError, require_readable

if not workflow.overwrite_configfiles:
    try:
        require_readable(Path("config/config.yaml"))
    except ConfigError as error:
        raise SystemExit(str(error))

    configfile: "config/config.yaml"


module hwfit:
    snakefile:
        "workflow/Snakefile"
    config:
        config


use rule * from hwfit
