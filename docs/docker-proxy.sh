#!/bin/sh
# Runs the proxy in Docker in such a way that it can be upgraded without losing a request.
#
#	IMAGE=parachute:1.4 sh docker-proxy.sh start      # once
#	IMAGE=parachute:1.5 sh docker-proxy.sh upgrade    # when there is another image
#	sh docker-proxy.sh stop
#
# Docker publishes the ports of a container for as long as that runs. So a container that does
# nothing else has them, and the proxies use its network. The new proxy takes over from the
# running one, which ends by itself when its clients have left.
set -eu

: "${IMAGE:=parachute}"                                   # the image of the proxy
: "${NAME:=parachute}"                                    # begins the names of containers and volumes
: "${NETWORK:=web}"                                       # the network of the applications
: "${PORTS:=-p 80:80 -p 443:443 -p 443:443/udp}"          # what is published
: "${OPTIONS:=}"                                          # of parachute run

# running prints the proxies that run, the newest first.
running() { docker ps -q --filter "label=parachute=$NAME"; }

# run NAME OPTION... starts a proxy.
run() {
	container=$1
	shift
	# shellcheck disable=SC2086 # OPTIONS are several words
	docker run -d --name "$container" --label "parachute=$NAME" --network "container:$NAME-net" \
		--restart unless-stopped --stop-timeout 20 -v "$NAME:/data" -v "$NAME-run:/run/parachute" \
		"$IMAGE" run "$@" $OPTIONS
}

case ${1:-} in
start)
	# shellcheck disable=SC2086 # PORTS are several words
	docker run -d --name "$NAME-net" --network "$NETWORK" --restart unless-stopped $PORTS --entrypoint sleep "$IMAGE" infinity
	run "$NAME-$(date +%s)-$$"
	;;
upgrade)
	old=$(running)
	# The old one is to end, and not to come back.
	[ -z "$old" ] || docker update --restart no $old
	run "$NAME-$(date +%s)-$$" --takeover
	;;
stop)
	docker stop $(running) "$NAME-net"
	;;
*)
	echo "usage: $0 start | upgrade | stop" >&2
	exit 2
	;;
esac
