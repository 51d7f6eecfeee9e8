#include "report/page.h"

void page_begin(html *out, const char *heading)
{
    html_element(out,
                 "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                 "<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
                 heading, "</title>\n<style>\n");
    html_markup(out, "%s", report_style);
    html_element(out, "</style></head><body><main>\n<header><h1>", heading, "</h1>\n");
}
