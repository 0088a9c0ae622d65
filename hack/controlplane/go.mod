module github.com/haproxy-template-ic/incumbent/hack/controlplane

go 1.26.0
