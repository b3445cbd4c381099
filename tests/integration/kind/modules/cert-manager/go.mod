// Nothing is built of it: cert-manager's definitions of its objects are in its source.
module kdm.test/cert-manager

go 1.26.0

require github.com/cert-manager/cert-manager v1.21.2
