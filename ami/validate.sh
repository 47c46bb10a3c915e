#!/usr/bin/env bash
# Has Packer validate the template, without any network and without an account. Packer 1.6, as Debian has it, knows neither
# plugins nor what is marked "newer than 1.6" in the template: that is left out for it, and said.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v packer >/dev/null || ! unshare --net true 2>/dev/null; then
    echo "packer: SKIPPED: it needs packer (apt-get install packer) and root, to take the network away"
    if [[ -n ${CI:-} ]]; then exit 1; fi
    exit 0
fi
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
cp bake.sh check.sh "$stage"
touch "$stage/spotblock-agent.rpm"
left_out=
if [[ $(packer version) == "Packer v1.6."* ]]; then
    sed -e '/# newer than 1.6: begin/,/# newer than 1.6: end/d' -e 's/data\.amazon-parameterstore\.image\.value/"ami-0123456789abcdef0"/' \
        spotblock.pkr.hcl >"$stage/spotblock.pkr.hcl"
    left_out=', without what 1.6 does not know (the SSM parameter, metadata_options, imds_support)'
    ./newer.py
else
    cp ./*.pkr.hcl "$stage"
fi

cd "$stage"
export CHECKPOINT_DISABLE=1 PACKER_NO_COLOR=1 AWS_EC2_METADATA_DISABLED=true AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1
export AWS_ACCESS_KEY_ID=AKIAEXAMPLE AWS_SECRET_ACCESS_KEY=example AWS_REGION=us-east-1
# A test that can't fail would pass anything.
if unshare --net packer validate -var package=missing.rpm . >/dev/null 2>&1; then
    echo "packer: it takes a package that isn't there" >&2
    exit 1
fi
# As it is, and with everything that can be set.
unshare --net packer validate -var package=spotblock-agent.rpm .
unshare --net packer validate -var package=spotblock-agent.rpm -var encrypt=true -var kms_key_id=alias/mine -var subnet_id=subnet-0123456789abcdef0 \
    -var 'tags={team="batch"}' -var source_image=/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id -var instance_type=g4dn.xlarge .
echo "packer: $(packer version | head -n 1) finds the template valid$left_out"
