#!/bin/sh
# Sends an image to TensorFlow Serving: sh serving.sh image.jpg
#
# frcnn export --format savedmodel --output detector/1
# tensorflow_model_server --rest_api_port=8501 --model_name=detector --model_base_path="$PWD/detector"
printf '{"signature_name": "encoded", "instances": [{"b64": "%s"}]}' "$(base64 "$1" | tr -d '\n')" |
    curl --silent --fail --data @- "${URL:-http://localhost:8501}/v1/models/detector:predict"
