"""What the API server sends, as messages to the watch state. In two formats of equal standing, and no word of HTTP.

============  =====================================================================================================
``readers``   chooses the format of each answer
``json_*``    JSON: ``messages`` decodes one event or item, ``framing`` cuts them out of what arrives
``protobuf_*``  the same for Protocol Buffers; ``fields`` reads the fields of one message
``records``   makes the Deployments, of either
============  =====================================================================================================
"""
