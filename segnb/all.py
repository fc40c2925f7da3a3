"""Every public name, for `from segnb.all import *`. Networks stay in `segnb.nets`, where two of them share a name with their segmenter."""

from .options import *
from .spec import *
from .folders import *
from .figures import *
from .data.images import *
from .data.transforms import *
from .data.datasets import *
from .data.scenes import *
from .losses import *
from .metrics import *
from .train.events import *
from .train.schedule import *
from .train.loop import *
from .train.observers import *
from .draw import *
from .infer.tiles import *
from .infer.predict import *
from .learning import *
from .segmenter import *
from .models import *
from .widgets.chart import *
from .widgets.live import *
from .widgets.viewer import *
from .widgets.panel import *
