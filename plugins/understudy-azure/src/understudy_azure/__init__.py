"""Azure OpenAI as an Understudy backend: fine-tuning on both surfaces, deployments through ARM."""
