#!/bin/sh
# The service of the package under the systemd of this machine: start, reload, watchdog, and restarts with a socket during requests.
# For a container of its own (scripts/package --boot), where weir.deb is beside this script.
set -eux
cd "$(dirname "$0")"

ask() { curl -s -o /dev/null -m 60 -w '%{http_code}\n' -x http://127.0.0.1:8888 http://127.0.0.1/; }
show() { systemctl show weir.service --value -p "$1"; }

# A container may forbid packages to start services.
rm -f /usr/sbin/policy-rc.d
ip link set lo up
dpkg -i weir.deb
[ "$(show ActiveState)" = active ]
[ "$(ask)" = 403 ]
[ "$(ps -o user= -p "$(show MainPID)")" = weir ]

echo 'block added.test' >>/etc/weir/weir.conf
systemctl reload weir.service
cp /etc/weir/weir.conf good.conf
echo frobnicate >>/etc/weir/weir.conf
if systemctl reload weir.service; then exit 1; fi
case "$(show StatusText)" in "not reloaded, running as before: "*) ;; *) exit 1 ;; esac
cp good.conf /etc/weir/weir.conf
systemctl reload weir.service
[ "$(show NRestarts)" = 0 ]

# A process that stands still is replaced.
mkdir -p /etc/systemd/system/weir.service.d
printf '[Service]\nWatchdogSec=5\nTimeoutAbortSec=2\n' >/etc/systemd/system/weir.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart weir.service
kill -STOP "$(show MainPID)"
tries=0
until [ "$(show NRestarts)" = 1 ] && [ "$(show ActiveState)" = active ]; do
    tries=$((tries + 1)) && [ $tries -lt 120 ] && sleep 0.5
done
rm -r /etc/systemd/system/weir.service.d
systemctl daemon-reload

# systemd keeps the socket while weir is restarted: all requests are answered.
systemctl stop weir.service
systemctl enable --now weir.socket
[ "$(ask)" = 403 ]
(for _ in $(seq 100); do ask; done >answers) &
systemctl restart weir.service
systemctl restart weir.service
wait $!
[ "$(sort answers | uniq -c | tr -s ' ')" = " 100 403" ]
dpkg --purge weir
if [ -e /etc/weir ]; then exit 1; fi
