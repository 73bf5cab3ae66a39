#!/bin/sh
# Runs the proxy of compose-proxy.yml, and upgrades it without losing a request.
#
#	docker network create web                          # once
#	IMAGE=parachute:1.4 sh compose-proxy.sh start      # once
#	IMAGE=parachute:1.5 sh compose-proxy.sh upgrade    # when there is another image
#	sh compose-proxy.sh stop
#
# `docker compose up` stops a container before it starts the next one. So there are two services that
# take turns. The old one ends by itself when its clients have left.
set -eu

: "${COMPOSE:=docker compose}"
: "${PROJECT:=parachute}" # begins the names of containers and volumes

compose() {
	# shellcheck disable=SC2086 # COMPOSE may be several words
	$COMPOSE -p "$PROJECT" -f "$(dirname "$0")/compose-proxy.yml" "$@"
}

# running COLOUR prints the container of a proxy if that runs.
running() {
	docker ps -q --filter "label=com.docker.compose.project=$PROJECT" --filter "label=com.docker.compose.service=proxy-$1"
}

case ${1:-} in
start)
	compose up -d proxy-blue
	;;
upgrade)
	old=$(running blue) next=green
	if [ -z "$old" ]; then
		old=$(running green) next=blue
	elif [ -n "$(running green)" ]; then
		echo "both proxies run: the one of the last upgrade still has clients" >&2
		exit 1
	fi
	# The old one is to end, and not to come back.
	[ -z "$old" ] || docker update --restart no "$old" >/dev/null
	compose up -d --no-deps --force-recreate "proxy-$next"
	;;
stop)
	compose --profile blue --profile green stop
	;;
*)
	echo "usage: $0 start | upgrade | stop" >&2
	exit 2
	;;
esac
