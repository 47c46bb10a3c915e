# The agent on this image reads the settings above through the metadata service. Nothing is left to do here.
for agent in /usr/bin/spotblock-agent /usr/local/bin/spotblock-agent; do
    if [ -x "$agent" ]; then exit 0; fi
done
echo "spotblock: this image has no spotblock-agent: the instance will not join its cluster" >/dev/console
exit 1
