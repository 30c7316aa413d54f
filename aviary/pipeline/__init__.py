"""What a pipeline does over HTTP alone: asks for a release, waits, and tells the job how it went.

Here belongs the client, which knows neither Kafka nor Temporal nor a catalog. What the server
answers with does not (`aviary.api`). `deploy/pipeline/deploy.sh` does the same with curl.
"""
