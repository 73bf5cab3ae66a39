<?php
// An application for PHP's built-in server.
if (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) === '/slow') {
    usleep(100000);
}
header('Content-Type: text/plain');
echo getenv('APP_NAME');
