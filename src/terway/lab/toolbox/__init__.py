"""Programs that run inside the lab's containers, with any Python and nothing else.

Every container of a lab finds this folder at /opt/terway-lab.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
IN_CONTAINER = "/opt/terway-lab"
TOOL = f"{IN_CONTAINER}/tool.py"
HTTP_PORT = 8080
ECHO_PORT = 7000
SINK_PORT = 7001
