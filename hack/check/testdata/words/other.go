package words

// The heir is permitted here. It says so. // want: "says" is retired
var heir = stage
