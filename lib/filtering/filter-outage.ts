/** What happens to mail that can't be examined, because the filter or the virus scanner does not answer. */
export enum FilterOutage {
  /** It is taken as it is: no mail is late, some spam gets through. */
  ACCEPT = 'accept',

  /** It is put off (451), and senders keep it and come again: nothing gets through unseen, mail may be late. */
  DEFER = 'defer',
}
