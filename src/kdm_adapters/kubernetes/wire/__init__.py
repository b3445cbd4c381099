"""What the API server sends, as messages to the watch state. In two formats, and nothing of HTTP.

============  =====================================================================================================
``readers``   chooses the format of each answer
``json_*``    JSON: ``messages`` decodes one event or item, ``framing`` cuts them out of the stream
``protobuf_*``  the same for Protocol Buffers; ``fields`` reads the fields of one message
``records``   makes the Deployments, from either
============  =====================================================================================================
"""
