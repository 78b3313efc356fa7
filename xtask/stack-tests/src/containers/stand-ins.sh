#!/bin/bash
# Builds stand-ins for the published images, under their names, for an engine that reaches no
# registry. It runs in the folder tree of the engine, so / is Debian.
#
#   stand-ins.sh WORK
#
# The programs are those of `cargo xtask stack tools`. K6, PROMETHEUS, OTELCOL and ALL_IN_ONE, which
# is Jaeger, are their paths. `docker build` reads only the files that a COPY names.
set -eu
work=$1

# Reads a Dockerfile from the standard input.
image() { docker build --quiet --tag "$1" --file - "$2" > /dev/null; }
tag() { grep -rhoE "$1:[A-Za-z0-9._-]+" compose | head -n 1; }

busybox=$work/busybox
mkdir -p "$busybox"/{bin,etc,tmp,root}
chmod 1777 "$busybox/tmp"
cp /usr/bin/busybox "$busybox/bin/"
for applet in sh wget id mkdir chown cat httpd sleep; do
    ln -s busybox "$busybox/bin/$applet"
done
printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/home:/bin/false\n' > "$busybox/etc/passwd"
image "$(tag busybox)" "$busybox" <<< $'FROM scratch\nCOPY . /\nCMD ["sh"]'
base="FROM $(tag busybox)"

# The C library, the time zones and the certificates: the content of the service's base image.
distroless=$work/distroless
mkdir -p "$distroless"/{usr/lib,usr/lib64,usr/bin,etc/ssl/certs,tmp,home/nonroot}
chmod 1777 "$distroless/tmp"
for folder in lib lib64 bin; do ln -s "usr/$folder" "$distroless/$folder"; done
for package in libc6 libgcc-s1 tzdata; do
    dpkg --listfiles "$package" | grep -E '^/(usr/)?(lib|lib64|share/zoneinfo)/' | while read -r file; do
        [ ! -d "$file" ] && [ -e "$file" ] || continue
        cp -a --parents "/usr/${file#/usr/}" "$distroless"
    done
done
cp /etc/ssl/certs/ca-certificates.crt "$distroless/etc/ssl/certs/"
printf 'nonroot:x:65532:65532::/home/nonroot:/sbin/nologin\n' > "$distroless/etc/passwd"
image "$(tag gcr.io/distroless/cc-debian13)" "$distroless" \
    <<< $'FROM scratch\nCOPY . /\nUSER 65532\nWORKDIR /home/nonroot'

image "$(tag prom/prometheus)" "${PROMETHEUS%/*}" << END
$base
COPY ${PROMETHEUS##*/} /bin/prometheus
WORKDIR /prometheus
RUN chown 65534:65534 .
USER nobody
VOLUME /prometheus
ENTRYPOINT ["/bin/prometheus"]
END
if [ -n "$(tag prom/alertmanager)" ]; then
    image "$(tag prom/alertmanager)" "${ALERTMANAGER%/*}" << END
$base
COPY ${ALERTMANAGER##*/} /bin/alertmanager
WORKDIR /alertmanager
RUN chown 65534:65534 .
USER nobody
ENTRYPOINT ["/bin/alertmanager"]
END
fi
image "$(tag otel/opentelemetry-collector-contrib)" "${OTELCOL%/*}" << END
FROM scratch
USER 10001:10001
COPY ${OTELCOL##*/} /otelcol-contrib
ENTRYPOINT ["/otelcol-contrib"]
END
image "$(tag grafana/k6)" "${K6%/*}" << END
$base
COPY ${K6##*/} /usr/bin/k6
USER 12345
ENTRYPOINT ["/usr/bin/k6"]
END
# Jaeger 1 in place of Jaeger 2: the same protocol, query API and ports. It knows none of Jaeger 2's
# arguments, and its health check has another address.
image "$(tag jaegertracing/jaeger)" "${ALL_IN_ONE%/*}" << END
$base
COPY ${ALL_IN_ONE##*/} /bin/jaeger
RUN printf '%s\n' '#!/bin/sh' 'mkdir -p /tmp/www && echo ok > /tmp/www/status' \\
    'httpd -p 13133 -h /tmp/www' \\
    'exec /bin/jaeger --memory.max-traces=20000 --collector.otlp.grpc.host-port=0.0.0.0:4317' \\
    > /bin/start \\
    && busybox chmod 755 /bin/start
USER 10001
ENTRYPOINT ["/bin/start"]
END
# Not Grafana: its health check and nothing else.
image "$(tag grafana/grafana)" "$busybox" << END
$base
RUN mkdir -p /www/api && echo {} > /www/api/health
USER 472
STOPSIGNAL SIGKILL
ENTRYPOINT ["httpd","-f","-p","3000","-h","/www"]
END
