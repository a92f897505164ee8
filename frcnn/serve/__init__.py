"""Detection for others on the network: a page in the browser, and the HTTP interface behind it.

Modules: `service` (a detector, and what requests share), `app` (the application and the page),
`routes` (those under /v1/), `guard` (who may ask, how much, and the headers of every answer),
`limits` (the bounds, and errors with an HTTP status), `uploads` (images and JSON from requests, in
memory), `batching` (the queue and the thread that detects), `counting` (expected numbers), `export`
(detections as files), `schemas` (the JSON), `metrics` (Prometheus), `docs` (the interface as a
page), `server` (the process).
"""
