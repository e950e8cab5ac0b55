# The consumers, browser included: docker build -t stock-pipeline-worker .
# How to run and scale them: docs/operations.md.
# Not by digest, and the browser not by version: both get their security fixes by being built anew (docker build --pull), and
# Debian keeps no older Chromium to pin.
FROM python:3.13-slim-trixie

# Browser and driver from one source, so that their versions fit; fonts, or pages lay out without text.
RUN apt-get update \
    && apt-get install -y --no-install-recommends chromium chromium-driver fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements.txt
COPY . .

# Chromium refuses its sandbox to root. What is written goes to one folder, the only one that this user may write to.
RUN useradd --uid 10001 --user-group --create-home --home-dir /var/lib/pipeline worker
ENV HOME=/var/lib/pipeline PIPELINE_HOME=/var/lib/pipeline PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    SE_OFFLINE=true SE_AVOID_STATS=true SCRAPER_BROWSER=/usr/bin/chromium SCRAPER_DRIVER=/usr/bin/chromedriver
USER worker
VOLUME /var/lib/pipeline

CMD ["python", "kafka_processing_consumer.py"]
