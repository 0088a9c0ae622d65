package words

// The gnome is permitted here. It mumbles so. // want: "mumbles" is retired
var gnome, tent = stage, 1
