"""The document of all routes, as tools that read OpenAPI see it."""

import json
import os
import urllib.request

from openapi_spec_validator import OpenAPIV31SpecValidator

with urllib.request.urlopen(f"http://{os.environ['AGENTCOM_OPEN_HTTP']}/api/openapi.json") as answer:
    document = json.load(answer)
OpenAPIV31SpecValidator(document).validate()
print("ok valid", flush=True)
