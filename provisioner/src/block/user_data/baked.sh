# The agent on the image reads the settings above through the metadata service. Nothing is left to do.
systemctl is-enabled spotblock-agent || fail "this image has no spotblock-agent"
