#!/bin/bash
# The seed's way: from nothing to so many instances that have joined, with the AWS CLI, jq and base64. Its user data joins the
# cluster and does nothing else. COUNT and AWS are given.
set -euo pipefail

until_is() { # WANTED JQ-FILTER COMMAND...
    local wanted=$1 filter=$2
    shift 2
    until [ "$("$AWS" "$@" --output json | jq -r "$filter")" = "$wanted" ]; do sleep 1; done
}

role=$("$AWS" iam create-role --role-name by-hand --assume-role-policy-document \
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"batch.amazonaws.com"},"Action":"sts:AssumeRole"}]}' \
    --output json | jq -r .Role.Arn)
"$AWS" iam attach-role-policy --role-name by-hand --policy-arn arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole
"$AWS" batch create-compute-environment --compute-environment-name by-hand --type UNMANAGED --state ENABLED --service-role "$role" >/dev/null
until_is VALID '.computeEnvironments[0].status' batch describe-compute-environments --compute-environments by-hand
cluster=$("$AWS" batch describe-compute-environments --compute-environments by-hand --output json | jq -r '.computeEnvironments[0].ecsClusterArn')
"$AWS" batch create-job-queue --job-queue-name by-hand --state ENABLED --priority 1 --compute-environment-order order=1,computeEnvironment=by-hand >/dev/null
until_is VALID '.jobQueues[0].status' batch describe-job-queues --job-queues by-hand
"$AWS" batch register-job-definition --job-definition-name by-hand --type container --container-properties \
    '{"image":"busybox","resourceRequirements":[{"type":"VCPU","value":"1"},{"type":"MEMORY","value":"256"}]}' >/dev/null

# What stands between the markers is there so that the local cloud's light nodes know their cluster.
settings=$(jq -cn --arg cluster "$cluster" '{version: 1, block: "sb-0123456789", environment: "by-hand", region: "us-east-1", cluster: $cluster,
    source: "spot-block", end: {"after-launch-secs": 3600}, drain_lead_secs: 900, stop_lead_secs: 300}')
user_data=$(printf '#!/bin/sh\n# --- spotblock node settings: begin ---\n# %s\n# --- spotblock node settings: end ---\necho ECS_CLUSTER=%s >>/etc/ecs/ecs.config\n' \
    "$settings" "$cluster" | base64 --wrap=0)
launch=$(jq -cn --arg data "$user_data" '{ImageId: "ami-a7a242da", InstanceType: "t2.micro", SubnetId: "subnet-c8d30ae4",
    SecurityGroupIds: ["sg-55964223"], IamInstanceProfile: {Name: "ecsInstanceRole"}, UserData: $data}')
mapfile -t requests < <("$AWS" ec2 request-spot-instances --spot-price 0.03 --instance-count "$COUNT" --type one-time --block-duration-minutes 60 \
    --launch-specification "$launch" --output json | jq -r '.SpotInstanceRequests[].SpotInstanceRequestId')
# What was asked for a moment ago needn't be known everywhere.
until "$AWS" ec2 describe-spot-instance-requests --spot-instance-request-ids "${requests[0]}" >/dev/null 2>&1; do sleep 1; done
until_is "$COUNT" '[.SpotInstanceRequests[] | select(.State == "active")] | length' \
    ec2 describe-spot-instance-requests --spot-instance-request-ids "${requests[@]}"
until_is "$COUNT" '.containerInstanceArns | length' ecs list-container-instances --cluster "$cluster"
