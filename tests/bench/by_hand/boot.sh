#!/bin/bash
# A node without an agent: asks the metadata service who it is and AWS which cluster is its own, writes ecs.config and has the ECS
# agent started. AWS, IMDS, ROOT and START are given.
set -euo pipefail

token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$IMDS/latest/api/token")
identity=$(curl -sf -H "X-aws-ec2-metadata-token: $token" "$IMDS/latest/dynamic/instance-identity/document")
AWS_DEFAULT_REGION=$(jq -r .region <<<"$identity")
export AWS_DEFAULT_REGION
cluster=$("$AWS" ec2 describe-tags --filters "Name=resource-id,Values=$(jq -r .instanceId <<<"$identity")" Name=key,Values=cluster \
    --query 'Tags[0].Value' --output text)
echo "ECS_CLUSTER=$cluster" >>"$ROOT/etc/ecs/ecs.config"
sh -c "$START"
